"""The commands of ``pyanoma``, a module each: parse, call the application, print."""
