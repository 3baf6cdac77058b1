"""The arq worker: its queues, its jobs, and what a worker process is made of. The only folder that knows arq."""
