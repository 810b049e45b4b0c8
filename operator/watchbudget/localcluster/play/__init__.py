"""Node agents and innocent clients, played: real requests to the API server, without the processes."""
