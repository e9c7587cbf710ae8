"""`kubectl clickstream`: a pipeline on one screen, read with the rights of whoever asks."""
