package hub;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;

/**
 * A hub that only one test uses, beside the shared one: on a loopback address of its own, with the root certificate
 * that this process trusts.
 */
final class OwnHub implements AutoCloseable {
    /** The connection string of its owner. */
    final String owner;

    private final Path state = Files.createTempDirectory("hub-");
    private final Process process;

    OwnHub(String... options) throws IOException {
        Path shared = Path.of(System.getenv("IOTHUB_EMULATOR_STATE_DIR"));
        try (Stream<Path> files = Files.list(shared)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, state.resolve(file.getFileName()));
            }
        }
        ThreadLocalRandom random = ThreadLocalRandom.current();
        String address = "127.%d.%d.%d".formatted(random.nextInt(1, 255), random.nextInt(256), random.nextInt(1, 255));
        List<String> command = new ArrayList<>(List.of(
                System.getenv("IOTHUB_EMULATOR"), "serve", "--bind", address, "--state-dir", state.toString()));
        command.addAll(List.of(options));
        process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.DISCARD).start();
        BufferedReader output = process.inputReader();
        String line = output.readLine();
        while (line != null && !line.strip().startsWith("HostName=")) {
            line = output.readLine();
        }
        if (line == null) {
            throw new IOException("the hub at %s ended before it was ready".formatted(address));
        }
        owner = line.strip();
    }

    @Override
    public void close() throws Exception {
        process.destroy();
        process.waitFor();
        try (Stream<Path> files = Files.walk(state)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
