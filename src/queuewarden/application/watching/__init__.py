"""What a running daemon shows of itself: to the API and the page, to Prometheus, to alerts."""
