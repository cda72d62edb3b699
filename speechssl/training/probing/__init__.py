"""What an encoder knows of anybody's labels: frozen features, small heads trained on them, and measures without labels.

``classify`` probes labels of whole recordings, ``recognise`` transcripts; ``anomalies`` finds sounds that
differ from normal ones, and ``rank`` needs no labels.
"""
