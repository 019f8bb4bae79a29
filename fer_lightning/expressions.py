"""The seven expressions of FER2013, in the order of its labels. The only place that knows how many there are."""

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
