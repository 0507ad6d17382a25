"""What stays of a run: its folder on disk, and copies in MLflow, which is imported only when it is first needed."""
