"""Tables, statistics and reports over runs, for terminals and programs."""
