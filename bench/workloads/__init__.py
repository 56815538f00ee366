"""What is measured. Each module has `measure(spec)`, called in a process of its own."""
