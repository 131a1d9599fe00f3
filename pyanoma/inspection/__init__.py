"""Looking at the processes of a node from outside: what the commands ``ps``, ``tree`` and ``info`` find and draw."""
