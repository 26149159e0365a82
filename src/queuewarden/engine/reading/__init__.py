"""Reading for people: pages of jobs and workers, failures, throughput. Read-only, and as text."""
