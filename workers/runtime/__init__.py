"""The arq workers of a process: queues, jobs and parts. The only folder that knows arq."""
