"""From expressions to running programs: plan (backend-neutral steps), then one backend a file."""
