"""What training adds to the engine: the workers' own points, examinations, models of torch."""
