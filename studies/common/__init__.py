"""What several studies share; a study is run as ``python studies/NAME.py``."""
