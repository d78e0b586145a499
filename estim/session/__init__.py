"""What a session is: states, requests, snapshots and the pure core."""
