// Command coredns is CoreDNS with the plugins that node.py's Corefile names; its own main has fifty more, and the
// clouds' libraries with them.
package main

import (
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/template"

	"github.com/coredns/coredns/coremain"
)

func main() { coremain.Run() }
