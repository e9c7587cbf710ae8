// kindconfig reads a kind configuration exactly as `kind create cluster --config` does (parse, defaults, validation),
// creates nothing, and ends with an error that says what is wrong with the file.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kind/pkg/internal/apis/config"
	"sigs.k8s.io/kind/pkg/internal/apis/config/encoding"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: kindconfig FILE")
		os.Exit(2)
	}
	cluster, err := encoding.Load(os.Args[1])
	if err == nil {
		config.SetDefaultsCluster(cluster)
		err = cluster.Validate()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%s: %d node(s)\n", os.Args[1], len(cluster.Nodes))
}
