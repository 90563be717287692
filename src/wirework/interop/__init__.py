"""Other people's checkpoints and formats, read and written."""
