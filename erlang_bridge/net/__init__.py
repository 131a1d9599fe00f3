"""Sockets: connections with other nodes and with epmd, on gevent's hub."""
