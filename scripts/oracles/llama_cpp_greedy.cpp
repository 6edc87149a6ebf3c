// The greedy tokens llama.cpp gives, and by how much each won: the recorded answers of
// models/tests/golden/llama_cpp_greedy.json. Reads one prompt a line from standard input, prints a JSON line each.
//
// Build against a static build of llama.cpp (scripts/compare-llama-cpp makes one) and run:
//   g++ -O2 -std=c++17 -I SOURCE/include -I SOURCE/ggml/include llama_cpp_greedy.cpp BUILD/src/libllama.a \
//       BUILD/ggml/src/libggml.a BUILD/ggml/src/libggml-cpu.a BUILD/ggml/src/libggml-base.a -fopenmp -lpthread -ldl -o greedy
//   ./greedy model.gguf 64 < scripts/oracles/greedy_prompts.txt > models/tests/golden/llama_cpp_greedy.jsonl
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "llama.h"

static void print_list(const char * name, const std::vector<llama_token> & tokens) {
    printf("\"%s\":[", name);
    for (size_t i = 0; i < tokens.size(); i++) printf("%s%d", i ? "," : "", tokens[i]);
    printf("]");
}

int main(int argc, char ** argv) {
    if (argc != 3) return fprintf(stderr, "expected: MODEL TOKENS\n"), 2;
    const int count = atoi(argv[2]);
    llama_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return fprintf(stderr, "cannot load %s\n", argv[1]), 1;
    const llama_vocab * vocab = llama_model_get_vocab(model);
    const int vocabulary = llama_vocab_n_tokens(vocab);
    std::string prompt;
    while (std::getline(std::cin, prompt)) {
        llama_context_params params = llama_context_default_params();
        params.n_ctx = 512;
        params.n_threads = params.n_threads_batch = 2;
        llama_context * context = llama_init_from_model(model, params);
        std::vector<llama_token> tokens(512);
        const int length = llama_tokenize(vocab, prompt.data(), prompt.size(), tokens.data(), tokens.size(), true, true);
        if (!context || length < 1) return fprintf(stderr, "cannot start on: %s\n", prompt.c_str()), 1;
        tokens.resize(length);
        std::vector<llama_token> answer, second;
        std::vector<float> margins;
        llama_batch batch = llama_batch_get_one(tokens.data(), length);
        llama_token last = 0;
        for (int step = 0; step < count; step++) {
            if (llama_decode(context, batch)) return fprintf(stderr, "decoding failed\n"), 1;
            const float * logits = llama_get_logits_ith(context, -1);
            int best = 0, next = -1;
            for (int id = 1; id < vocabulary; id++) if (logits[id] > logits[best]) best = id;
            for (int id = 0; id < vocabulary; id++)
                if (id != best && (next < 0 || logits[id] > logits[next])) next = id;
            answer.push_back(best);
            second.push_back(next);
            margins.push_back(logits[best] - logits[next]);
            last = best;
            batch = llama_batch_get_one(&last, 1);
        }
        printf("{");
        print_list("prompt_tokens", tokens);
        printf(",");
        print_list("tokens", answer);
        printf(",");
        print_list("second", second);
        printf(",\"margins\":[");
        for (size_t i = 0; i < margins.size(); i++) printf("%s%.4f", i ? "," : "", margins[i]);
        printf("]}\n");
        llama_free(context);
    }
    llama_model_free(model);
}
