import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.yarn.conf.YarnConfiguration;
import org.apache.hadoop.yarn.server.MiniYARNCluster;

/**
 * A real HDFS (one name node, two data nodes) and a real YARN (two node managers) in one JVM.
 *
 * <p>Everything lies below the working directory. The client's configuration is written to
 * {@code conf/}, then the line {@code READY <fs.defaultFS>} to standard output. Both end when
 * standard input does, so that they cannot outlive the tests that started them.
 */
final class MiniHadoop {
  private static final int NODES = 2;
  private static final int NODE_MEMORY_MB = 4096;

  private MiniHadoop() {}

  public static void main(String[] arguments) throws Exception {
    Path base = Path.of("").toAbsolutePath();
    YarnConfiguration settings = settings(base);
    try (MiniDFSCluster hdfs =
            new MiniDFSCluster.Builder(settings, base.resolve("hdfs").toFile())
                .numDataNodes(NODES)
                .build();
        MiniYARNCluster yarn = new MiniYARNCluster("recpipe", NODES, 1, 1)) {
      hdfs.waitActive();
      String root = hdfs.getFileSystem().getUri().toString();
      settings.set("fs.defaultFS", root);
      yarn.init(settings);
      yarn.start();
      if (!yarn.waitForNodeManagersToConnect(60_000)) {
        throw new IllegalStateException("the node managers did not register within 60 s");
      }
      write(Files.createDirectories(base.resolve("conf")), root, yarn.getConfig());
      System.out.println("READY " + root);
      System.out.flush();
      while (System.in.read() >= 0) {}
      // Nothing here is worth an orderly end, which takes half a minute.
      Runtime.getRuntime().halt(0);
    }
  }

  private static YarnConfiguration settings(Path base) {
    YarnConfiguration settings = new YarnConfiguration();
    settings.set("hadoop.tmp.dir", base.resolve("tmp").toString());
    settings.setInt("dfs.replication", NODES);
    settings.setInt("yarn.nodemanager.resource.memory-mb", NODE_MEMORY_MB);
    settings.setInt("yarn.scheduler.minimum-allocation-mb", 256);
    // A JVM maps far more than it uses, and a machine that runs tests may have an almost full disk.
    settings.setBoolean("yarn.nodemanager.vmem-check-enabled", false);
    settings.setBoolean("yarn.nodemanager.pmem-check-enabled", false);
    settings.set(
        "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage", "99.9");
    settings.set("yarn.scheduler.capacity.root.queues", "default");
    settings.set("yarn.scheduler.capacity.root.capacity", "100");
    settings.set("yarn.scheduler.capacity.root.default.capacity", "100");
    // By default a tenth of the memory may go to drivers: on 8 GB, none of 1 GB would start.
    settings.set("yarn.scheduler.capacity.maximum-am-resource-percent", "0.9");
    return settings;
  }

  private static void write(Path folder, String root, Configuration running) throws IOException {
    Configuration core = new Configuration(false);
    core.set("fs.defaultFS", root);
    Configuration yarn = new Configuration(running);
    // Names a class of Hadoop's tests, which Spark's class path does not have.
    yarn.unset("net.topology.node.switch.mapping.impl");
    write(core, folder.resolve("core-site.xml"));
    write(yarn, folder.resolve("yarn-site.xml"));
  }

  private static void write(Configuration settings, Path file) throws IOException {
    try (OutputStream out = Files.newOutputStream(file)) {
      settings.writeXml(out);
    }
  }
}
