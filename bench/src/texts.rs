//! What prompts are written from. Real words cost what real prompts cost.

use breakeven_measurement::PromptText;
use serde::Deserialize;

/// The pieces of a text, each with the space before it.
pub(crate) fn pieces(text: PromptText) -> Vec<String> {
    let own = |sentences: &[&str]| sentences.iter().map(|s| (*s).to_owned()).collect();
    match text {
        PromptText::Support => own(&SENTENCES),
        PromptText::Multilingual => own(&MULTILINGUAL),
        PromptText::Malformed => own(&MALFORMED),
        PromptText::MtBench => questions(include_str!("../prompts/mt_bench.jsonl")),
        PromptText::VicunaBench => questions(include_str!("../prompts/vicuna_bench.jsonl")),
    }
}

#[derive(Deserialize)]
struct Question {
    turns: Vec<String>,
}

/// Every turn of every question; the files are part of the program and tested.
fn questions(lines: &str) -> Vec<String> {
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Question>(line).ok())
        .flat_map(|question| question.turns)
        .map(|turn| format!(" {turn}"))
        .collect()
}

/// Our own sentences of everyday support traffic: real words cost what real prompts cost.
const SENTENCES: [&str; 24] = [
    " My order arrived yesterday but one of the boxes was open and a part is missing.",
    " I changed my address last week and the invoice still shows the old one.",
    " Could you tell me when the next delivery to my city is planned?",
    " The app asks me to sign in again every time I open it on my phone.",
    " I was charged twice for the same month and would like one payment back.",
    " How do I add a second person to our account without giving them the password?",
    " The printer prints the first page and then stops with an orange light.",
    " We need a copy of all receipts from March to June for our accountant.",
    " After the update the list of contacts is empty and the search finds nothing.",
    " Is it possible to pause the subscription while I am travelling in August?",
    " The coupon from your newsletter is not accepted at the checkout.",
    " Our office has twelve people and only ten of them can see the calendar.",
    " Please explain the difference between the basic plan and the plus plan.",
    " The heater makes a clicking noise when it starts and the room stays cold.",
    " I sent the form two weeks ago and have not heard anything since then.",
    " Which documents do I need to bring to the appointment on Tuesday morning?",
    " The tracking page says delivered, but nobody here has seen the parcel.",
    " Can I return a gift without the paper receipt if I have the card it was paid with?",
    " The video call freezes after a few minutes whenever I share my screen.",
    " Someone tried to sign in from another country and I want to be sure we are safe.",
    " The size chart says medium, yet the jacket is far too small for me.",
    " We moved our website to a new server and the emails go to the wrong place.",
    " What happens to my files if I cancel at the end of this month?",
    " The battery used to last two days and now it is empty before lunch.",
];

/// Our own: one everyday request in twelve languages and seven scripts.
const MULTILINGUAL: [&str; 12] = [
    " Die Rechnung vom März zeigt noch immer meine alte Adresse, obwohl ich sie zweimal geändert habe.",
    " Je voudrais savoir pourquoi mon colis est resté quatre jours au dépôt sans aucune explication.",
    " ¿Pueden decirme cuándo llega el técnico? Llevo toda la mañana esperando en casa.",
    " Não consigo entrar na aplicação desde a última atualização do telemóvel.",
    " Ho pagato due volte lo stesso abbonamento e vorrei indietro uno dei due importi.",
    " Proszę o kopię wszystkich faktur od stycznia do czerwca dla naszej księgowej.",
    " Почему после обновления список контактов пуст и поиск ничего не находит?",
    " 注文した商品が届きましたが、部品が一つ足りません。どうすればよいですか。",
    " 我上周修改了地址，但是发票上还是旧的，请帮我更正。",
    " 결제가 두 번 되었는데 한 번은 환불해 주실 수 있나요?",
    " لم تصل الشحنة حتى الآن مع أن الموقع يقول إنها سُلّمت أمس.",
    " मेरा खाता बंद हो गया है और मुझे कोई कारण नहीं बताया गया।",
];

/// Our own: what a broken export or scan sends.
const MALFORMED: [&str; 10] = [
    " | date | amount | | ---|--- 2024-13-45 || 1.2.3,00 EUR |",
    " {\"order\": 4711, \"items\": [{\"id\": 1, \"id\": , \"price\": }",
    " <p><b>Invoice</p><td>total<td></b> &nbsp &#x; <script>",
    " KÃ¶ln, MÃ¼nchen, ZÃ¼rich \u{fffd}\u{fffd} naÃ¯ve cafÃ©",
    " %PDF-1.4 1 0 obj << /Type /Cat endobj xref 0 99999",
    " \u{200b}\u{200b}to\u{200b}tal\u{feff} du\u{ad}e\u{202e} 00,21",
    " =?utf-8?Q?Re=3A_Re=3A_Re=3A_invoi?= =?utf-8?B?Y2U=",
    " NULL;NULL;;\"unterminated;12;;NULL;\t\t;-;n/a;#REF!;#DIV/0!",
    " Page 3 of 2 ..... Page 3 of 2 ..... cont'd on page",
    " -----BEGIN MESSAGE----- aGVsbG8gd29ybGQ aGVsbG8gd29 -----END",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_pieces_and_the_sets_are_whole() {
        assert_eq!(pieces(PromptText::MtBench).len(), 160, "80 questions of two turns");
        assert_eq!(pieces(PromptText::VicunaBench).len(), 80);
        for text in [PromptText::Support, PromptText::Multilingual, PromptText::Malformed] {
            let pieces = pieces(text);
            assert!(pieces.len() >= 10 && pieces.iter().all(|piece| piece.starts_with(' ')));
        }
    }
}
