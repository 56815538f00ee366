"""The part that decides: planner, loop, and the face of it all."""
