import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.io.ByteArrayInputStream;
import java.nio.charset.StandardCharsets;

/** Asks both planes, with bodies of known length and in chunks, as clients built on the JDK do. */
public class OffersHttp2 {
    public static void main(String[] arguments) throws Exception {
        String address = arguments[0];
        HttpClient client = HttpClient.newHttpClient(); // HTTP/2 is its default: it offers h2c
        for (int round = 0; round < 2; round++) {
            for (boolean chunked : new boolean[] {false, true}) {
                ask(client, address + "/v1/completions", arguments[1], chunked);
                ask(client, address + "/api/show", arguments[2], chunked);
            }
        }
    }

    static void ask(HttpClient client, String uri, String text, boolean chunked) throws Exception {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        BodyPublisher body = chunked
            ? BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes))
            : BodyPublishers.ofByteArray(bytes);
        HttpRequest request = HttpRequest.newBuilder(URI.create(uri))
            .header("Content-Type", "application/json").POST(body).build();
        var response = client.send(request, BodyHandlers.ofString());
        System.out.println(response.statusCode() + " " + response.version());
        if (response.statusCode() != 200) {
            System.err.println(uri + ": " + response.body());
        }
    }
}
