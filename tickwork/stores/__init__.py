"""Where tasks and runs are kept; each store in a package of its own."""
