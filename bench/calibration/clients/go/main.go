// A node agent's cache and nothing else: one shared informer of client-go on everything of one kind.
//
// Usage: client RESOURCE SELECTOR, with KUBECONFIG. Says "synced N" once its cache is full.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		panic(err)
	}
	selected := func(options *metav1.ListOptions) { options.LabelSelector = os.Args[2] }
	factory := informers.NewSharedInformerFactoryWithOptions(
		kubernetes.NewForConfigOrDie(config), 0, informers.WithTweakListOptions(selected))
	informer := map[string]func() cache.SharedIndexInformer{
		"namespaces":      factory.Core().V1().Namespaces().Informer,
		"networkpolicies": factory.Networking().V1().NetworkPolicies().Informer,
	}[os.Args[1]]()
	stop := make(chan struct{})
	factory.Start(stop)
	if !cache.WaitForCacheSync(stop, informer.HasSynced) {
		panic("never synced")
	}
	fmt.Printf("synced %d\n", len(informer.GetStore().ListKeys()))
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
}
