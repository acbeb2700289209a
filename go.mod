module github.com/xdpctl/xdpctl-nl

go 1.26
