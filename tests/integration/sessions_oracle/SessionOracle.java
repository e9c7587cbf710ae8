import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.TreeSet;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.TestInputTopic;
import org.apache.kafka.streams.TopologyTestDriver;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.SessionStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Runs streams of (key, time) through the real Kafka Streams SessionWindows and prints what it forwards and keeps.
 *
 * Standard input, a line each: "S gap grace shared|fresh" begins a stream, "key time" is a record of it, "E" ends it.
 * Standard output: "R index key start end count" for each result that record number `index` made Kafka Streams forward
 * (count "-": a retraction), in order; "L key start end count" for each session in the store at the stream's end; "E".
 *
 * A "fresh" stream has a driver of its own, which costs milliseconds. "shared" ones follow one another through one
 * driver for each gap and grace, each moved so far ahead in time, under keys of its own, that nothing of the one before
 * it is live or open any more: its first record sets stream time as it would in a new driver.
 */
public final class SessionOracle {
    private static final String STORE = "sessions";
    private static final int STREAMS_A_DRIVER = 500;

    private final long gap;
    private final long retention;
    private final TopologyTestDriver driver;
    private final TestInputTopic<String, String> input;
    private final StringBuilder out;
    private int index;
    private long base;
    private long latest;
    private int streams;

    private SessionOracle(long gap, long grace, StringBuilder out) {
        this.gap = gap;
        this.retention = gap + grace;
        this.out = out;
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream("clicks", Consumed.with(Serdes.String(), Serdes.String()))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
                .windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofMillis(gap), Duration.ofMillis(grace)))
                .count(Materialized.<String, Long>as(
                                Stores.inMemorySessionStore(STORE, Duration.ofMillis(retention)))
                        .withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.Long())
                        .withCachingDisabled()
                        .withLoggingDisabled())
                .toStream()
                .foreach(this::forwarded);
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "oracle");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, "unused:1");
        driver = new TopologyTestDriver(builder.build(), config);
        input = driver.createInputTopic("clicks", new StringSerializer(), new StringSerializer());
    }

    private void begin() {
        index = 0;
        if (streams++ > 0) {
            base = latest + 10 * (gap + retention);
        }
    }

    private void record(String key, long time) {
        long moved = base + time;
        latest = Math.max(latest, moved);
        input.pipeInput(name(key), "", moved);
        index++;
    }

    private void end(TreeSet<String> keys) {
        SessionStore<String, Long> store = driver.getSessionStore(STORE);
        for (String key : keys) {
            try (KeyValueIterator<Windowed<String>, Long> found = store.fetch(name(key))) {
                while (found.hasNext()) {
                    KeyValue<Windowed<String>, Long> session = found.next();
                    out.append("L ");
                    print(session.key, session.value);
                }
            }
        }
        out.append("E\n");
    }

    private String name(String key) {
        return key + "@" + streams;
    }

    private void forwarded(Windowed<String> session, Long count) {
        out.append("R ").append(index).append(' ');
        print(session, count);
    }

    private void print(Windowed<String> session, Long count) {
        out.append(session.key(), 0, session.key().indexOf('@')).append(' ')
                .append(session.window().start() - base).append(' ')
                .append(session.window().end() - base).append(' ')
                .append(count == null ? "-" : count.toString()).append('\n');
    }

    public static void main(String[] arguments) throws IOException {
        StringBuilder out = new StringBuilder();
        Map<String, SessionOracle> shared = new HashMap<>();
        SessionOracle current = null;
        boolean fresh = false;
        TreeSet<String> keys = new TreeSet<>();
        try (BufferedReader reader =
                        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8), 1 << 16);
                BufferedWriter writer =
                        new BufferedWriter(new OutputStreamWriter(System.out, StandardCharsets.UTF_8), 1 << 16)) {
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                String[] words = line.split(" ");
                if (words[0].equals("S")) {
                    long gap = Long.parseLong(words[1]);
                    long grace = Long.parseLong(words[2]);
                    fresh = words[3].equals("fresh");
                    String kind = words[1] + " " + words[2];
                    current = fresh ? null : shared.get(kind);
                    if (current != null && current.streams >= STREAMS_A_DRIVER) {
                        current.driver.close();
                        current = null;
                    }
                    if (current == null) {
                        current = new SessionOracle(gap, grace, out);
                        if (!fresh) {
                            shared.put(kind, current);
                        }
                    }
                    keys.clear();
                    current.begin();
                } else if (words[0].equals("E")) {
                    current.end(keys);
                    if (fresh) {
                        current.driver.close();
                    }
                    writer.append(out);
                    out.setLength(0);
                } else {
                    keys.add(words[0]);
                    current.record(words[0], Long.parseLong(words[1]));
                }
            }
            for (SessionOracle each : shared.values()) {
                each.driver.close();
            }
        }
    }
}
