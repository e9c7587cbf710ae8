// policies makes a node enforce NetworkPolicies with kube-router's controller for them, and with nothing else of it: the
// program itself would bring BGP, IPVS and container engines along. It takes kube-router's options.
package main

import (
	"log"
	"sync"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"github.com/cloudnativelabs/kube-router/v2/pkg/utils"
	"github.com/spf13/pflag"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config := options.NewKubeRouterConfig()
	config.AddFlags(pflag.CommandLine)
	pflag.Parse()
	log.Fatal(enforce(config))
}

func enforce(config *options.KubeRouterConfig) error {
	access, err := clientcmd.BuildConfigFromFlags("", config.Kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(access)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	factory.Start(nil)
	factory.WaitForCacheSync(nil)

	tables, sets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	if err := leaveServicesToProxy(tables[v1.IPv4Protocol], config.ClusterIPCIDRs[0]); err != nil {
		return err
	}
	var mutex sync.Mutex
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &mutex, tables, sets)
	if err != nil {
		return err
	}
	pods.AddEventHandler(controller.PodEventHandler)
	namespaces.AddEventHandler(controller.NamespaceEventHandler)
	policies.AddEventHandler(controller.NetworkPolicyEventHandler)

	heartbeats := make(chan *healthcheck.ControllerHeartbeat)
	go func() {
		for range heartbeats { // nobody asks, but the controller waits until each is taken
		}
	}()
	var running sync.WaitGroup
	running.Add(1)
	controller.Run(heartbeats, nil, &running)
	return nil
}

// What still has a service's address when it is forwarded has no endpoint to go to. Where it comes from a pod, the
// controller would accept it before kube-proxy's rule could refuse it.
func leaveServicesToProxy(tables utils.IPTablesHandler, services string) error {
	const chain = "KUBE-ROUTER-FORWARD" // the controller keeps a rule that is not its own
	if err := tables.ClearChain("filter", chain); err != nil {
		return err
	}
	return tables.Append("filter", chain, "-d", services, "-j", "RETURN")
}
