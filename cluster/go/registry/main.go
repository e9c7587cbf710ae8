// registry is the reference implementation of an OCI registry, with nothing in it but storage in a folder: images and
// charts are pushed to it, and the node pulls them, as from a published one.
package main

import (
	"os"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
)

func main() {
	// Otherwise it would send traces to a collector that nobody has.
	os.Setenv("OTEL_TRACES_EXPORTER", "none")
	if err := registry.RootCmd.Execute(); err != nil {
		os.Exit(1)
	}
}
