import io.fabric8.kubernetes.api.model.HasMetadata;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.informers.SharedIndexInformer;

/**
 * A node agent's cache and nothing else: one informer of fabric8 on everything of one kind.
 *
 * <p>Usage: Client RESOURCE SELECTOR, with KUBECONFIG. Says "synced N" once its cache is full.
 */
public class Client {
  public static void main(String[] arguments) throws InterruptedException {
    KubernetesClient client = new KubernetesClientBuilder().build();
    SharedIndexInformer<? extends HasMetadata> informer =
        switch (arguments[0]) {
          case "namespaces" -> client.namespaces().withLabelSelector(arguments[1]).runnableInformer(0);
          case "networkpolicies" ->
              client.network().v1().networkPolicies().inAnyNamespace()
                  .withLabelSelector(arguments[1]).runnableInformer(0);
          default -> throw new IllegalArgumentException(arguments[0]);
        };
    informer.start().toCompletableFuture().join();
    System.out.println("synced " + informer.getStore().listKeys().size());
    Thread.currentThread().join();
  }
}
