"""The main job on real input: a simulated fleet of every deployed build on a real server, with time running fast."""
