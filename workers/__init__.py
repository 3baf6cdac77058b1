"""The worker process: arq jobs that route events, deliver them and keep Redis and Linq in order."""
