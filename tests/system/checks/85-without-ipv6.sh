# A host whose loopback has no ::1 is served on 127.0.0.1.

systemctl stop pool-server.socket
check 'the host loses ::1' ip -6 address del ::1/128 dev lo
check 'the socket can be started' systemctl start pool-server.socket
check 'and serves' works
