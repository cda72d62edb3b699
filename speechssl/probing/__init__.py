"""What an encoder knows of anybody's labels: frozen features, small heads trained on them, and measures without labels.

``classify`` probes labels of whole recordings, ``rank`` needs no labels.
"""
