package hub;

import java.io.BufferedReader;
import java.io.IOException;
import java.util.concurrent.TimeUnit;

/** A device or module that answers methods: {@code node/answering-device.js} says which. Leaves when closed. */
final class AnsweringDevice implements AutoCloseable {
    private final Process process;

    /** Returns when the hub has it. */
    AnsweringDevice(String connectionString) throws IOException {
        ProcessBuilder node = new ProcessBuilder("node", "../node/answering-device.js", connectionString)
                .redirectError(ProcessBuilder.Redirect.INHERIT);
        process = node.start();
        BufferedReader output = process.inputReader();
        String said = output.readLine();
        if (!"ready".equals(said)) {
            process.destroyForcibly();
            throw new IOException("the device ended before it was ready; it said: " + said);
        }
    }

    @Override
    public void close() throws Exception {
        process.outputWriter().close();
        if (!process.waitFor(30, TimeUnit.SECONDS)) {
            process.destroyForcibly();
            throw new IllegalStateException("the device did not end");
        }
    }
}
