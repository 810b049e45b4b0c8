// Command etcd is the etcd server. The module go.etcd.io/etcd/v3, which holds
// etcd's own main package, has replace directives and cannot be required from
// another module; its server module can, and this is all its main does.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
