"""What the tests share: the two loops, peers, sockets, certificates, and a stress program."""
