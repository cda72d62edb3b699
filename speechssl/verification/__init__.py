"""Who speaks: embeddings, scores, decisions, and how often they are right."""
