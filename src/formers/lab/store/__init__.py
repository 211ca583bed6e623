"""The rows of studies: what they hold, and how they are kept in MLflow."""
