import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * Runs one Elasticsearch node in the foreground until SIGTERM.
 *
 * <p>The distribution's own launcher is not published as an artifact. This one leaves out what a development node
 * on loopback does not need: the keystore, the security manager's successor, daemonizing, bootstrap checks.
 *
 * <p>Arguments: the home (jars, modules) and the configuration folder (elasticsearch.yml).
 */
public final class NodeLauncher {
    private static final String NODE = "devstack";

    private NodeLauncher() {}

    public static void main(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Path configuration = Path.of(arguments[1]);

        LogConfigurator.configureESLogging();
        LogConfigurator.setNodeName(NODE);
        LogConfigurator.configureWithoutConfig(
                Settings.builder().put("logger.level", System.getProperty("devstack.log", "INFO")).build());

        Settings settings = Settings.builder().put("path.home", home.toString()).build();
        Environment environment =
                InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), configuration, () -> NODE);
        PluginsLoader loader = PluginsLoader.createPluginsLoader(
                PluginsLoader.loadModulesBundles(environment.modulesDir(), true),
                PluginsLoader.loadPluginsBundles(environment.pluginsDir(), true),
                Map.of());

        Node node = new Node(environment, loader);
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node, closed), "devstack-shutdown"));
        node.start();
        closed.await();
    }

    private static void close(Node node, CountDownLatch closed) {
        try {
            node.prepareForClose();
            node.close();
            node.awaitClose(10, TimeUnit.SECONDS);
        } catch (Exception failure) {
            failure.printStackTrace();
        } finally {
            closed.countDown();
        }
    }
}
