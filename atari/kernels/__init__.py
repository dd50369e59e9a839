"""The console's frame as one GPU kernel; `frame.run` has the rules of `console`."""
