"""Database health: what is wrong with a server, a database or the tables of queues, and what to run.

A room for each topic: its question, which only reads, and what the answer tells. Nothing here runs a remedy.
"""
