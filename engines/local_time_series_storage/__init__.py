"""Local Time Series Storage: values with times, in named series.

`messages` is what it takes and sends, `series` one series, `behaviour` what it does, `server` the process and its
callers' functions.
"""
