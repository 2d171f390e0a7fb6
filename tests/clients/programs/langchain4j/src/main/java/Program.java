// langchain4j with Ollama's and OpenAI's APIs: ADDRESS; prints what it got as JSON.

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.langchain4j.agent.tool.ToolExecutionRequest;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.data.embedding.Embedding;
import dev.langchain4j.data.message.AiMessage;
import dev.langchain4j.data.message.ToolExecutionResultMessage;
import dev.langchain4j.data.message.UserMessage;
import dev.langchain4j.data.segment.TextSegment;
import dev.langchain4j.model.chat.ChatModel;
import dev.langchain4j.model.chat.StreamingChatModel;
import dev.langchain4j.model.chat.request.ChatRequest;
import dev.langchain4j.model.chat.request.ResponseFormat;
import dev.langchain4j.model.chat.request.ResponseFormatType;
import dev.langchain4j.model.chat.request.json.JsonObjectSchema;
import dev.langchain4j.model.chat.request.json.JsonSchema;
import dev.langchain4j.model.chat.response.ChatResponse;
import dev.langchain4j.model.chat.response.StreamingChatResponseHandler;
import dev.langchain4j.model.embedding.EmbeddingModel;
import dev.langchain4j.model.ollama.OllamaChatModel;
import dev.langchain4j.model.ollama.OllamaEmbeddingModel;
import dev.langchain4j.model.ollama.OllamaStreamingChatModel;
import dev.langchain4j.model.openai.OpenAiChatModel;
import dev.langchain4j.model.openai.OpenAiEmbeddingModel;
import dev.langchain4j.model.openai.OpenAiStreamingChatModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;

public class Program {
  private static final ObjectMapper JSON = new ObjectMapper();

  public static void main(String[] arguments) throws Exception {
    String address = arguments[0];
    String v1 = address + "/v1";
    Map<?, ?> asked = JSON.readValue(Files.readString(Path.of(System.getenv("QUESTIONS"))), Map.class);
    Map<String, Object> found = new LinkedHashMap<>();
    found.put(
        "ollama",
        tried(
            asked,
            ollama(address, "demo-a"),
            ollama(address, "nobody"),
            OllamaStreamingChatModel.builder().baseUrl(address).modelName("demo-a").temperature(0.0).build(),
            OllamaEmbeddingModel.builder().baseUrl(address).modelName("demo-embed").build()));
    found.put(
        "openai",
        tried(
            asked,
            openai(v1, "demo-a"),
            openai(v1, "nobody"),
            OpenAiStreamingChatModel.builder().baseUrl(v1).apiKey("x").modelName("demo-a").build(),
            OpenAiEmbeddingModel.builder().baseUrl(v1).apiKey("x").modelName("demo-embed").build()));
    System.out.println(JSON.writeValueAsString(found));
    System.exit(0);
  }

  private static ChatModel ollama(String address, String model) {
    return OllamaChatModel.builder()
        .baseUrl(address).modelName(model).temperature(0.0).maxRetries(0).build();
  }

  private static ChatModel openai(String address, String model) {
    return OpenAiChatModel.builder()
        .baseUrl(address).apiKey("x").modelName(model).temperature(0.0).maxRetries(0).build();
  }

  private static Map<String, Object> tried(
      Map<?, ?> asked, ChatModel chat, ChatModel nobody, StreamingChatModel streaming, EmbeddingModel embedding)
      throws Exception {
    Map<String, Object> found = new LinkedHashMap<>();
    found.put("chat", chat.chat((String) asked.get("name")));
    found.put("whole", chat.chat((String) asked.get("count")));

    List<String> pieces = new ArrayList<>();
    CompletableFuture<ChatResponse> end = new CompletableFuture<>();
    streaming.chat(
        (String) asked.get("count"),
        new StreamingChatResponseHandler() {
          @Override
          public void onPartialResponse(String piece) {
            pieces.add(piece);
          }

          @Override
          public void onCompleteResponse(ChatResponse response) {
            end.complete(response);
          }

          @Override
          public void onError(Throwable error) {
            end.completeExceptionally(error);
          }
        });
    end.get();
    found.put("stream", Map.of("text", String.join("", pieces), "pieces", pieces.size()));

    ToolSpecification tool =
        ToolSpecification.builder()
            .name("get_weather")
            .description("Get the weather in a city.")
            .parameters(JsonObjectSchema.builder().addStringProperty("city").required("city").build())
            .build();
    UserMessage question = UserMessage.from((String) asked.get("weather"));
    AiMessage called =
        chat.chat(ChatRequest.builder().messages(question).toolSpecifications(tool).build()).aiMessage();
    ToolExecutionRequest call = called.toolExecutionRequests().get(0);
    found.put("tools", List.of(call.name(), JSON.readValue(call.arguments(), Map.class)));
    ChatRequest told =
        ChatRequest.builder()
            .messages(question, called, ToolExecutionResultMessage.from(call, "sunny"))
            .toolSpecifications(tool)
            .build();
    found.put("told", chat.chat(told).aiMessage().text());

    JsonSchema schema =
        JsonSchema.builder()
            .name("Named")
            .rootElement(JsonObjectSchema.builder().addStringProperty("name").required("name").build())
            .build();
    ResponseFormat format = ResponseFormat.builder().type(ResponseFormatType.JSON).jsonSchema(schema).build();
    UserMessage json = UserMessage.from((String) asked.get("json"));
    found.put(
        "json", chat.chat(ChatRequest.builder().messages(json).responseFormat(format).build()).aiMessage().text());

    List<float[]> vectors = new ArrayList<>();
    for (Embedding each :
        embedding.embedAll(List.of(TextSegment.from("a cat"), TextSegment.from("a dog"))).content()) {
      vectors.add(each.vector());
    }
    found.put("embeddings", vectors);
    try {
      nobody.chat("x");
      found.put("error", null);
    } catch (RuntimeException error) {
      found.put("error", error.getClass().getSimpleName());
    }
    return found;
  }
}
