"""``pyanoma demo``: a BEAM and a Python node, a plain OTP supervisor over Python engines, a crash and a kill.

`counter` is the engine, `nodes` starts and stops the two nodes, `story` is what happens, `screen` how it is shown.
Everything that is printed comes from what the two nodes have answered; what does not come out as it should is a
`DemoFailed`.
"""
