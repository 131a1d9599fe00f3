def format_term(t): return repr(t)
