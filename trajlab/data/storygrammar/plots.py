"""The plots of StoryGrammar, in the notation of `template_grammar`: a choice of plots, each a chain of small choices.

A line that ends in a colon names a rule; below it stand its templates, one to a line, the most frequent first; a line
that is indented further continues the one above; ¶ ends a paragraph. Names that a story remembers: ``hero`` and
``friend`` (kind *name*), ``object`` (kind *object*), ``place`` (kind *place*), and ``adult``, ``helper``, ``owner``,
``pet``, ``look``, ``event`` and ``fear``, which only have to stay what they are. Where two people are on the stage
the text uses names, so that he and she are never in doubt. Two templates of a rule must differ where their common
beginning ends: ``template_proofs.ambiguities`` says where they don't.
"""

from __future__ import annotations

PLOTS = """
story:
    <opening> ¶ <lost> <close>
    <opening> ¶ <share> <close>
    <opening> ¶ <rescue> <close>
    <opening> ¶ <newcomer> <close>
    <opening> ¶ <cook> <close>
    <opening> ¶ <brave> <close>
    <opening> ¶ <wish> <close>
    <opening> ¶ <broken> <close>
    <opening> ¶ <treasure> <close>
    <opening> ¶ <stuck> <close>
    <opening> ¶ <show> <close>
    <opening> ¶ <gift> <close>

opening:
    Once upon a time, there was [trait.a] [hero=hero.intro]. <habit> <family>
    Once there was [trait.a] [hero=hero.intro] who lived in [home.a]. <habit> <family>
    In [home.a] near the [landmark] lived [trait.a] [hero=hero.intro]. <habit> <family>
    [hero=hero] was [trait.a] {hero.girl} who lived near the [landmark]. <habit> <family>

habit:
    {hero.He} loved to [activity] [often].
    {hero} liked to [activity], but most of all, {hero.he} liked to be with friends.
    When {hero.he} had nothing to do, {hero.he} liked to [activity].
    {hero.His} favorite food was [food], and {hero.his} favorite color was [shade].

family:
    {hero.He} had [young_animal.a] named [pet_name], and the two of them did everything together.
    {hero.His} [relative] always called {hero.him} "my [trait] [endearment]."
    {hero.He} always wore [shade] [clothes], even in bed.
    Before bedtime, {hero.his} [relative] told {hero.him} stories about [subject].
    {hero.He} could [talent], and everyone who lived near the [landmark] knew it.
    {hero.His} bed stood under a window, and at night {hero.he} could see [tree.a] tree and the light of [shop.a].

close:
    It had been a good day.
    That night, {hero} slept very well and dreamed of [subject].
    At home, {hero} had some [food] and a cup of [drink] and told the whole story.
    {hero} never forgot that day, not even when {hero.he} was old.
    In the evening, {hero} painted a picture of {friend} with [shade] hair and [animal.a] on top.
    The next morning, {hero} and {friend} shared some [food] and laughed about it all.
    "What a day!" said {hero.his} [relative] when {hero} told the story. They had [food] for dinner.

# --- what happens by the way

aside:
    [animal.Cap_a] came by, looked at them and went on.
    {friend} hummed a song about [subject].
    [bug.Cap_a] sat down on {hero}'s nose.
    "Did you know that my [relative] can [talent]?" asked {friend} [loudly].
    {friend} told a story about [subject], and {hero} listened.
    {hero} found [junk.a] and put it in a pocket.
    "I am hungry," said {hero}. Luckily, {friend} had some [food] and a bottle of [drink].
    [passer.Cap_a] waved at {hero} and {friend}.

chat:
    "When I grow up, I want to be [job.a]," said {friend}. {hero} only wanted to [activity].
    {hero} was wearing [shade] [clothes], and {friend} had [colour.a] hat.
    They had eaten a lot of [food] and were in the mood for something new.
    "Tell me a story about [subject]," said {hero}, and {friend} did.
    They talked about [subject] and about [flower], and the time flew by.
    "My [relative] gave me [junk.a]," said {friend}. "What should I do with it?" {hero} had no idea.
    "I dreamed of [subject] last night," said {friend}. "And I dreamed of [food]," said {hero} [loudly].
# --- a thing is lost and found

lost:
    One [weather] [daytime], {hero} took {hero.his} [look=colour] [object=toy] to the [place=outdoor].
        <lost_friend> <chat> <play> ¶ <lost_gone> <lost_cry> <lost_comfort> ¶ <lost_search> <aside> <lost_found> ¶
        <lost_end>

lost_friend:
    {hero.His} friend [friend=friend] came along too.
    There {hero.he} met {hero.his} friend [friend=friend].
    {place.In} the {place}, {hero.he} saw [friend=friend.intro_a] who lived next door.

play:
    They [played] and laughed until they were tired.
    [sky]. The two friends [played] and then shared some [food].
    First they [played]. Then they sat down [spot_a] and told each other secrets.

lost_gone:
    When it was time to go home, {hero} looked around. The {object} was gone!
    Then {hero} stopped. "Where is my {object}?" {hero.he} asked.
    But soon {hero} saw that the {look} {object} was missing.

lost_cry:
    {hero} felt [sad] and began to cry.
    "Oh no!" cried {hero}. "That {object} was a present from my [adult]!"
    {hero.His} eyes filled with tears.

lost_comfort:
    "Don't worry, {hero}," said {friend}. "We will look for your {object} together."
    {friend} took {hero}'s hand. "Let's look for the {object}," {friend.he} said [softly].
    "Please don't cry," said {friend}. "I am good at finding things."

lost_search:
    They looked [spot_a], but they found only [junk.a]. Then they looked [spot_b], but there was only [bug.a].
    They went all over the {place}. They looked [spot_a] and [spot_b], but the {object} was not there.
    They asked [helper=passer.a]. "Have you seen {look.a} {object}?" asked {hero}. "No," said the {helper}, "but
        you could look [spot_a]." So they did, but they found only [junk.a].
    First {hero} looked [spot_a]. Then {friend} looked [spot_b]. There was nothing.

lost_found:
    Then {friend} saw something {look} [spot_c]. It was the {object}!
    At last {hero} pointed. There was the {look} {object}, [spot_c]!
    Just then [pet=animal.a] came running by. The {pet} had the {object} in its mouth and dropped it [spot_c]!
    "Look!" called {friend} [loudly]. The {object} was [spot_c].

lost_end:
    {hero} was [glad]. "Thank you for finding my {object}, {friend}," {hero.he} said. They walked home from the
        {place} hand in hand.
    "Thank you, {friend}!" said {hero} [loudly]. From then on, {hero} always held on to the {object} {place.in}
        the {place}.
    Now everyone was [glad]. Before bedtime, {hero} told {hero.his} [adult] how {friend} had found the {object}
        {place.in} the {place}.

# --- two want the same thing

share:
    On [weekday], {hero} and {hero.his} friend [friend=friend] were playing [place=indoor.there]. <chat>
        <share_find> <share_quarrel> ¶ <share_sulk> <share_adult> ¶ <share_peace> <share_end>

share_find:
    In a corner they found [look=colour.a] [object=toy].
    Someone had left [look=colour.a] [object=toy] there.
    "Look what I found!" said {friend}. It was [look=colour.a] [object=toy].

share_quarrel:
    "The {object} is mine!" said {hero}. "No, I want it!" said {friend}. They both pulled as hard as they could.
    {hero} wanted the {object}, and {friend} wanted it too. "Give it to me!" they both shouted.
    "Let me have the {object}, {hero}!" cried {friend}. But {hero} held it tight and did not let go.

share_sulk:
    {hero} was [sad], and {friend} was angry. Nobody had any fun.
    {friend} turned around and said nothing. {hero} looked at the {object}, but it was no fun to play alone.
    Soon {friend} began to cry. {hero} felt [sad].

share_adult:
    Then {hero.his} [adult=adult] came in. "What is the matter?" {adult.he} asked. "We both want the {object},"
        said {hero} [softly].
    {hero.His} [adult=adult] heard the noise and came to the {place}. "Why are you so loud, {hero}?" {adult.he}
        asked.
    "You can both play with the {object}," said {hero.his} [adult=adult]. "You only have to take turns."

share_peace:
    {hero} thought about it. "You can have the {object} first, {friend}," {hero.he} said. "Then it is my turn."
    "I am sorry, {hero}," said {friend}. "Let's share the {object}." {hero} nodded and smiled.
    Then {friend} had an idea. They [contest], and the winner got the {object} for an hour.

share_end:
    Now they were both [glad]. They left the {look} {object} {place.in} the {place} so that they could share it
        again.
    {hero.His} {adult} was proud of {hero} and {friend} and gave them some [food].
    {hero} and {friend} stayed {place.in} the {place} until dinner, and nobody was angry any more.

# --- an animal needs help

rescue:
    While {hero} and {hero.his} friend [friend=friend] were playing [place=outdoor.there], they heard [sound.a]
        cry. <rescue_seen> <rescue_feel> ¶ <rescue_plan> <rescue_work> ¶ <rescue_thanks> <rescue_end>

rescue_seen:
    It was [pet=young_animal.a], stuck in [trap.a].
    "Listen, {hero}!" said {friend}. "It comes from over there." There was [pet=young_animal.a], caught in
        [trap.a].
    They looked [spot_a] and found [pet=young_animal.a] that had hurt its leg on [junk.a].

rescue_feel:
    The poor {pet} was [sad] and shook all over.
    "Poor little {pet}!" said {hero} [softly]. "We have to help it."
    {friend} wanted to run away, but {hero} said, "The {pet} needs us."

rescue_plan:
    {friend} ran home and came back with [object=tool.a]. "We can use this {object}," {friend.he} said.
    "I know what we need," said {hero}. {hero.He} asked [helper=passer.a] for [object=tool.a]. "Take my {object},"
        said the {helper} [softly].
    Not far away lay [object=tool.a]. "Look, {friend}!" said {hero}. "That {object} is just what we need."

rescue_work:
    With the {object}, the two friends worked until the {pet} was free.
    {hero} held the {object}, and {friend} talked to the {pet}. Little by little, it came out.
    It was hard work, but {hero} was careful, and {friend} did not give up. Soon the {pet} was free, and nobody
        needed the {object} any more.

rescue_thanks:
    The {pet} looked at {hero} and made [sound.a] sound, as if to say thank you.
    "We did it!" shouted {friend} [loudly]. The {pet} ate some [food] from {hero}'s hand.
    At first the {pet} was afraid, but then it let {friend} pet its head.

rescue_end:
    Then it went back to its mother. {hero} and {friend} were [glad]. Whenever they came to the {place}, they
        looked for the {pet}.
    {hero} always remembered the {object} and how {friend} had helped to save the {pet} {place.in} the {place}.
    They named it [pet_name] and took care of it until it was strong. Then they took it back to the {place}, where
        it had many friends.

# --- a newcomer finds a friend

newcomer:
    One [weather] [daytime], a new [friend=friend.intro] came to the [place=outdoor]. <new_alone> <new_watch> ¶
        <new_hello> <new_answer> ¶ <new_play> <chat> <aside> <new_end>

new_alone:
    {friend} did not know anyone there and stood all alone [spot_a].
    Nobody talked to {friend}, who sat [spot_a] and looked [sad].
    Some children laughed at {friend} because of {friend.his} [colour] [clothes].

new_watch:
    {hero} saw that {friend} was holding [look=colour.a] [object=toy].
    In {friend.his} hand was [look=colour.a] [object=toy]. {hero} had never seen one like it.
    All {friend} had was [look=colour.a] [object=toy].

new_hello:
    {hero} was a little shy, but {hero.he} walked up to {friend}. "Hello, I am {hero}," {hero.he} said [softly].
    "Would you like some [food]?" asked {hero}. "Yes, please," said {friend} [softly].
    "That is a nice {object}," said {hero}. "What is your name?" "I am {friend}," was the answer.

new_answer:
    "We moved here on [weekday]. I miss my old home, and I only have this {object}," said {friend}.
    "I got this {object} from my [relative] when we moved away," said {friend}.
    {friend} held out the {object}. "Do you want to play with me, {hero}?" {friend.he} asked.

new_play:
    So they took the {object} and played with it. Then they [played].
    {hero} showed {friend} the whole {place}. [sky]. They [played] until it was late.
    Soon the other children came too. They all [played], and everyone wanted to hold the {object}.

new_end:
    "I like it here now," said {friend} [loudly]. {hero} was [glad].
    When {friend} had to go, {friend.he} gave {hero} the {look} {object}. "So you won't forget me," {friend.he}
        said. And {hero} came back to the {place} the next day.
    After that, {hero} and {friend} met {place.in} the {place} every [weekday], and they always brought the
        {object}.

# --- a surprise from the kitchen

cook:
    It was almost the birthday of {hero.his} [adult=adult]. "I want to make [object=dish.a]," {hero} told
        {hero.his} friend [friend=friend]. <cook_help> <cook_mix> <chat> ¶ <cook_wrong> <cook_mend> ¶ <cook_carry>
        <aside> <cook_end>

cook_help:
    "Let me help you, {hero}," said {friend} [loudly].
    {friend} had never made one, but {friend.he} knew how to read a recipe.
    "Then we need [ingredient] and a lot of [fruit]," said {friend}.

cook_mix:
    They went into the kitchen and put on [colour] aprons. {hero} took a big bowl, and {friend} added
        [ingredient].
    {friend} got out the [fruit], and {hero} looked for the [ingredient]. Soon there was a mess everywhere.
    {hero} stirred, and {friend} sang a song about [animal.a] who liked [food].

cook_wrong:
    But then {hero} tasted it. "Oh no!" {hero.he} said. "I think we used too much [ingredient]."
    They [played] while they waited, and the first {object} got burned. {hero} was [sad].
    Just then [animal.a] jumped through the window and ate half of the {object}! {friend} was [sad].

cook_mend:
    "We can try again," said {friend} [softly]. The second {object} looked much better.
    "It does not matter," said {friend}. "We will put some [fruit] on top, and nobody will know."
    {hero} took a deep breath and started again. This time, {friend} watched the {object} very carefully.

cook_carry:
    Then they carried the {object} to the [place=outdoor], where {hero.his} {adult} was waiting.
    {hero.His} {adult} was sitting [place=outdoor.there]. "Surprise!" shouted {hero} and {friend}.

cook_end:
    "What a wonderful {object}!" said {hero.his} {adult}. "Did you make it all alone, {hero}?" "No," said {hero},
        "{friend} helped me."
    They stayed {place.in} the {place} and ate the {object} to the last crumb. {hero.His} {adult} was [glad].
    {hero.His} {adult} hugged them both and gave the biggest piece of the {object} to {friend}.

# --- someone is afraid

brave:
    But there was one thing that {hero} did not like. {hero.He} was afraid of [fear=fear]. <brave_friend>
        <brave_charm> ¶ <brave_go> <chat> <brave_shake> ¶ <brave_do> <brave_end>

brave_friend:
    {hero.His} friend [friend=friend] never laughed about it.
    Only {hero.his} best friend [friend=friend] knew that.
    "Everyone is afraid of something," said {hero.his} friend [friend=friend]. "I am afraid of [fear_b]."

brave_charm:
    One day, {friend} gave {hero} [look=colour.a] [object=toy]. "This {object} makes you brave," {friend.he} said.
    "Take my [look=colour] [object=toy]," said {friend}. "It has always helped me."
    So {friend} and {hero.his} [relative] had a plan. They gave {hero} [look=colour.a] [object=toy] for good luck.

brave_go:
    On [weekday], {friend} and {hero} went to the [place=outdoor] with the {object}.
    The next [daytime] was [weather]. {hero} took the {object} and met {friend} [place=outdoor.there].

brave_shake:
    [sky], but all of a sudden {hero} thought of {fear}. {hero.His} knees began to shake.
    They [played]. Then {friend} started to talk about {fear}, and {hero} wanted to run home.
    "I can't stay here, {friend}," said {hero} [softly]. "I have to think of {fear} all the time."

brave_do:
    "Hold the {object}," said {friend}. {hero} closed {hero.his} eyes and counted to ten. Then {hero.he} felt
        better.
    {hero} held the {look} {object} tight and took a deep breath. "I can do it," {hero.he} said.
    {friend} pointed at the {object}. {hero} looked at it and slowly began to smile.

brave_end:
    "I was brave!" shouted {hero} [loudly]. {friend} was [glad]. They stayed {place.in} the {place} until dark.
    From that day on, {hero} was not afraid of {fear} any more. {hero.He} gave the {object} back to {friend}.
    "It was not the {object}," said {friend}. "You were brave all by yourself, {hero}." Then they left the {place}
        and had some [food].

# --- a wish costs work

wish:
    One day, {hero} saw [look=fine.a] [object=wish] in the window of [shop.a]. <wish_want> <wish_cost> ¶
        <wish_work> <wish_friend> <chat> ¶ <wish_end>

wish_want:
    {hero.He} had never wanted anything so much.
    "I wish I had that {object}," {hero.he} said [softly].
    All night long, {hero} thought about the {object}.

wish_cost:
    But {hero.he} had only [few] coins. "You have to work for it," said {hero.his} [adult].
    "How much is the {look} {object}?" {hero} asked. It cost a lot of money.
    But {hero.his} [adult] said that the {object} was too expensive.

wish_work:
    So {hero} went to work for [helper=passer.a] [place=worksite.there]. {hero.He} [task], and the {helper} paid
        {hero.him} [few] coins a day.
    So every [weekday], {hero} went to the [place=worksite] and helped [helper=passer.a]. {hero.He} [task] and
        never complained.
    "You can help me," said [helper=passer.a]. So {hero} came to the [place=worksite] every day and [task].

wish_friend:
    {hero.His} friend [friend=friend] came to the {place} too. "I will help you to get the {object}," said
        {friend}.
    One day, {hero.his} friend [friend=friend] asked, "Why are you always {place.in} the {place}?" So {hero} told
        {friend} about the {object}.
    There {hero.he} met [friend=friend.intro_a]. "What do you need the money for?" asked {friend}. "For the
        {object}," said {hero}.

wish_end:
    At last {hero} had enough coins. {hero.He} ran to buy the {object} and let {friend} try it first. They were
        both [glad].
    But when {hero} went to buy it, the {object} was gone. Then {friend} came with a big box. "The {helper} and I
        bought the {object} for you, {hero}!" said {friend} [loudly].
    When {hero} had the money, {hero.he} saw that {friend} had no warm [clothes]. So {hero} bought some for
        {friend} instead. The {helper} heard about it and gave {hero} the {look} {object}.

# --- something is broken

broken:
    One [weather] [daytime], {hero} and {hero.his} friend [friend=friend] were playing [place=indoor.there].
        <chat> <broken_rule> <broken_fall> ¶ <broken_hide> <broken_talk> ¶ <broken_tell> <broken_end>

broken_rule:
    On a table stood [look=fine.a] [object=breakable] that belonged to {hero.his} [adult=adult].
    "Be careful with my [look=fine] [object=breakable]," {hero.his} [adult=adult] had told them.
    {hero.His} [adult=adult] kept [look=fine.a] [object=breakable] there and loved it very much.

broken_fall:
    They [played_in] when they heard a crash. The {object} lay on the floor in pieces.
    {hero} jumped up to catch [bug.a] and bumped into the {object}. It fell down and broke.
    "Catch me, {hero}!" called {friend}. {hero} ran as fast as {hero.he} could and knocked over the {object}. It
        broke.

broken_hide:
    "Let's hide it [spot_in]," said {friend}. {hero} shook {hero.his} head.
    {hero} felt [sad]. {hero.He} wanted to hide the {object} and say that [animal.a] had broken it.
    They looked at each other. Nobody had seen it, only [animal.a] outside the window.

broken_talk:
    "We have to tell the truth," said {friend} [softly].
    "I will come with you, {hero}," said {friend}. "We did it together."
    {hero} thought about it for a long time. A lie would only make it worse.

broken_tell:
    So {hero} went to {hero.his} {adult}. "I broke your {object}," {hero.he} said [softly]. "I am very sorry."
    When {hero.his} {adult} came to the {place}, {hero} began to cry. "The {look} {object} is broken, and it was
        me," said {hero}.
    {hero} and {friend} picked up every piece of the {object} and took them to {hero.his} {adult}.

broken_end:
    {hero.His} {adult} was quiet for a moment. "Thank you for telling me, {hero}," {adult.he} said. "We can glue
        the {object}." {friend} helped too, and soon it stood {place.in} the {place} again.
    "I loved that {object}," said {hero.his} {adult}, "but I love you more." {hero} was [glad] and promised not to
        run {place.in} the {place} again.
    {hero.His} {adult} was not angry. {hero} and {friend} [chore] for a week and bought a new {object} with the
        money.

# --- a map and a treasure

treasure:
    [spot_b.Cap], {hero} found an old map. <map_show> <map_go> <chat> ¶ <map_way> <aside> <map_search> ¶
        <map_find> <map_end>

map_show:
    {hero.He} showed it to {hero.his} friend [friend=friend]. "It is a treasure map!" said {friend} [loudly].
    {hero.His} friend [friend=friend] read it twice. "{hero}, there is a treasure!" {friend.he} whispered.
    "Look at this!" {hero.he} said to {hero.his} friend [friend=friend].

map_go:
    A red line led to the [place=outdoor]. They took some [food] and a shovel and set off.
    There was a cross [place=outdoor.there]. "Let's go there," said {friend}.

map_way:
    On the way, they met [helper=passer.a]. "What are you looking for?" asked the {helper}. "A secret," said
        {hero} [softly].
    They walked past [home.a] and [tree.a] tree. [sky].
    It was [weather.a] [daytime]. They crossed a stream, where they saw [animal.a] and [young_animal.a].

map_search:
    {place.In} the {place}, they looked [spot_a], but they found only [junk.a]. "Don't give up, {friend}," said
        {hero}.
    When they came to the {place}, {friend} looked [spot_a], and {hero} looked [spot_c]. Nothing was there but
        [flower].
    The {place} was bigger than on the map. They dug one hole after another and found [junk.a] and [bug.a].

map_find:
    Then {hero} hit something hard. It was [look=fine.a] [object=treasure]!
    "Here!" cried {friend}. Under the roots of [tree.a] tree lay [look=fine.a] [object=treasure].
    At last, {hero} pulled [look=fine.a] [object=treasure] out of the ground.

map_end:
    "We will share the {object}," said {hero}. So {friend} kept it on one day and {hero} on the next, and both
        were [glad].
    There was a letter too. "Whoever finds this {object} has a true friend," it said. {hero} looked at {friend}
        and smiled. They never told anyone what they had found {place.in} the {place}.
    But the {object} belonged to [owner=job.a], who had lost it {place.in} the {place} long ago. {hero} and
        {friend} gave it back, and the {owner} thanked them with some [food].

# --- the wind takes something away

stuck:
    The wind was strong that [daytime]. {hero} and {hero.his} friend [friend=friend] were [place=outdoor.there]
        with [look=colour.a] [object=flyaway]. <chat> <stuck_fly> <stuck_sad> ¶ <stuck_try> <stuck_fail> <aside> ¶
        <stuck_help> <stuck_end>

stuck_fly:
    Suddenly the wind took the {object} and carried it away. It got caught [high].
    They [played], and nobody held on to the {object}. It flew up and up and landed in [tree.a] tree.
    "Look, {friend}, I can throw it very high!" said {hero}. Then the {object} was stuck [high].

stuck_sad:
    "My {object}!" cried {hero}. {hero.He} was [sad].
    "We need that {object} back," said {friend} [softly]. "It belongs to my [adult]."
    They stood there and stared at the {look} {object}.

stuck_try:
    {hero} jumped as high as {hero.he} could. {friend} threw [junk.a] at the {object}.
    {friend} climbed onto {hero}'s shoulders, but they could not reach the {object}.
    "Let's find a long stick," said {friend}. They looked [spot_a], but they found only [junk.a] and [bug.a].

stuck_fail:
    It did not help. "I give up," said {hero} [softly].
    The {object} did not move at all. [animal.Cap_a] watched them and seemed to laugh.
    "Don't be so [sad], {hero}," said {friend}. "Somebody will know what to do."

stuck_help:
    Then [helper=passer.a] came by with a long ladder. "Is that your {object}?" asked the {helper}.
    {hero} ran to [helper=passer.a] and asked for help. The {helper} came to the {place} at once with [few] strong
        men.
    "Maybe my [tool] will help," said [helper=passer.a], who had seen it all. And it did!

stuck_end:
    A moment later, {friend} had the {look} {object} back. "Hooray!" shouted {hero} [loudly]. They were both
        [glad].
    Down came the {object}! {hero} caught it and gave it to {friend}. They went back to the {place} every day, but
        never again when the wind was strong.
    "Here is your {object}," said the {helper} [loudly]. "Tie a string to it." {hero} and {friend} [played]
        {place.in} the {place} until dark.

# --- a prize is to be won

show:
    One [weekday], there was a big [event=event] [place=outdoor.there], and the prize was [look=fine.a]
        [object=treasure]. <show_plan> <show_practice> <chat> ¶ <show_fear> <show_word> ¶ <show_act> <show_end>

show_plan:
    {hero} and {hero.his} friend [friend=friend] wanted to [talent].
    "I would love to win that {object}," {hero} told {hero.his} friend [friend=friend]. "We could [talent]."
    {hero.His} friend [friend=friend] asked, "Shall we [talent], {hero}?"

show_practice:
    They practiced a lot, and {hero.his} [adult=adult] clapped.
    They borrowed [colour] [clothes] from {hero.his} [adult=adult] and practiced a lot.
    {hero.His} [adult=adult] helped them to get ready.

show_fear:
    But when {hero} came to the {place} and saw all the people, {hero.he} felt [sad].
    Before them, [passer.a] and [animal.a] did a trick, and everyone clapped. "They are too good," said {hero}
        [softly].
    The {place} was full of people. "I can't do it, {friend}," said {hero}. "I want to go home."

show_word:
    "Don't think of the {object}," said {friend}. "We do it for fun."
    "You are not alone, {hero}," said {friend}, who was a little shy too.
    {hero.His} {adult} gave {hero} a kiss and said, "Just look at {friend} and forget the rest."

show_act:
    So they went up on the stage. [sky], and everything went well.
    At first {hero} made a mistake, but {friend} only smiled and went on.
    {friend} took {hero}'s hand, and they began. The people laughed and clapped.

show_end:
    In the end, they won the {look} {object}! {hero} was [glad] and gave it to {friend} to hold.
    [passer.Cap_a] won the {object}, but {hero} and {friend} did not mind. They got some [food] and stayed
        {place.in} the {place} until dark.
    "The {object} goes to {hero} and {friend}!" said [passer.a]. Everyone at the {event} clapped. {hero.His}
        {adult} was [glad].

# --- a present for a friend

gift:
    It was the birthday of {hero.his} friend [friend=friend], and {hero} had no present. <gift_think> <gift_idea>
        ¶ <gift_make> <gift_trouble> <aside> ¶ <gift_give> <gift_end>

gift_think:
    "What does {friend} like?" {hero} asked {hero.his} [adult=adult].
    {hero.He} felt [sad]. "Maybe you can make something," said {hero.his} [adult=adult].
    {hero.His} [adult=adult] looked into the cupboard, but there was only [junk.a].

gift_idea:
    Then {hero} remembered that {friend} had always wanted [object=toy.a].
    "I know! I will make [object=toy.a]," said {hero} [loudly].
    {hero} had only [few] coins, but in [shop.a] {hero.he} saw [object=toy.a] that nobody wanted.

gift_make:
    {hero} worked on the {object} for hours. {hero.He} painted it [shade] and put [bug.a] on it made of paper.
    {hero.His} {adult} helped to make the {object} look like new. They put it in [shade.a] box.
    The {object} was not very big, but {hero} wrapped it in paper with [flower] on it.

gift_trouble:
    On the way to the [place=outdoor], {hero} met [animal.a] that wanted to play, and the {object} fell into the
        mud.
    The party was [place=outdoor.there]. {friend} had got [wish.a] and many other things, and {hero} wanted to
        hide the {object}.
    {hero} took it to the [place=outdoor], where everybody [played]. {hero} was too shy to say a word.

gift_give:
    "This is for you, {friend}," said {hero} [softly].
    "What is that, {hero}?" asked {friend}. "It is only a little {object}," said {hero}.
    At last {friend} asked, "Did you bring me something, {hero}?" {hero} nodded and held out the {object}.

gift_end:
    {friend} was [glad]. "I love this {object}! It is the best present of all," {friend.he} said. Then they had
        cake {place.in} the {place}.
    {friend} took the {object} everywhere, even to bed. {hero} told {hero.his} {adult}, who was [glad] too.
    "You chose it for me!" said {friend} [loudly]. They played with the {object} {place.in} the {place}, and then
        they all had some [food].
"""


def rules(text: str) -> dict[str, list[str]]:
    """The rules that a text in this notation describes: name to templates."""
    found: dict[str, list[str]] = {}
    templates: list[str] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if not line.strip() or line.startswith("#"):
            continue
        if indent == 0:
            templates = found.setdefault(line.rstrip(":"), [])
        elif indent == 4:
            templates.append(line.strip())
        else:
            templates[-1] += " " + line.strip()
    return {name: [template.replace(" ¶ ", "\n\n") for template in of_rule] for name, of_rule in found.items()}


RULES = rules(PLOTS)
