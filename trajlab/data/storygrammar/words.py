"""The word tables of StoryGrammar: entries stand in the order of their frequency, which falls by Zipf's law.

Forms that every row has: the plain text, ``a`` (with its article), ``Cap`` and ``Cap_a`` (the same with a capital).
People have ``he``, ``him``, ``his``, ``girl`` and ``intro`` (*girl named Lily*), places have ``in`` and ``there``
(*in the garden*); each of those with a capital too (``He``). Rows with equal `agreement` can stand for each other
without any other word of a story having to change.
"""

from __future__ import annotations

from trajlab.data.storygrammar.template_grammar import Row, Table

_SOUNDS_LIKE_YOU = ("unicorn", "uniform", "useful", "ukulele", "usual")
_SILENT_H = ("hour", "honest")


def article(words: str) -> str:
    """The indefinite article of what begins with these words."""
    vowel = words[0].lower() in "aeiou" and not words.startswith(_SOUNDS_LIKE_YOU)
    return "an" if vowel or words.startswith(_SILENT_H) else "a"


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]


def _row(text: str, agreement: str = "", **forms: str) -> Row:
    capitals = {_capital(name): _capital(form) for name, form in forms.items()}
    common = {
        "": text,
        "a": f"{article(text)} {text}",
        "Cap": _capital(text),
        "Cap_a": _capital(f"{article(text)} {text}"),
    }
    return Row(text, {**common, **forms, **capitals}, agreement)


def _entries(text: str) -> list[str]:
    return [" ".join(entry.split()) for entry in text.split(",")]


def words(name: str, text: str, kind: str = "") -> Table:
    """A table of words without further forms, from entries between commas."""
    return Table(name, tuple(_row(entry) for entry in _entries(text)), kind)


def _person(text: str, gender: str) -> Row:
    he, him, his, girl = ("she", "her", "her", "girl") if gender == "f" else ("he", "him", "his", "boy")
    return _row(
        text, gender, he=he, him=him, his=his, girl=girl, intro=f"{girl} named {text}", intro_a=f"a {girl} named {text}"
    )


def _people(name: str, women: str, men: str, kind: str = "") -> Table:
    """Women and men by turns, as long as there are both."""
    turns = zip(_entries(women), _entries(men), strict=True)
    return Table(name, tuple(_person(*who) for turn in turns for who in zip(turn, "fm", strict=True)), kind)


def _places(name: str, text: str) -> Table:
    """Entries such as ``at park``: the preposition that goes with a place, then the place."""
    rows = [entry.split(" ", 1) for entry in _entries(text)]
    return Table(
        name,
        tuple(_row(place, where, **{"in": where, "there": f"{where} the {place}"}) for where, place in rows),
        "place",
    )


TABLES = [
    # --- who ------------------------------------------------------------------------------------------------------
    _people(
        "hero",
        """Lily, Mia, Lucy, Sara, Anna, Emma, Sue, Amy, Molly, Daisy, Ella, Zoe, Nora, Ruby, Rosie, Lola, Clara,
        Maya, Ivy, Hazel, Alice, Jane, Kate, Polly, Stella, Tess, Wendy, Nina, June, Flora, Hannah, Iris, Maggie,
        Sophie, Leah, Eva, Fern, Greta, Heidi, Julia""",
        """Tim, Ben, Max, Tom, Jack, Sam, Leo, Jake, Bob, Billy, Finn, Noah, Oscar, Toby, Henry, Theo, Luke, Adam,
        Owen, Danny, Felix, Hugo, Joey, Kevin, Liam, Milo, Nick, Ollie, Peter, Ravi, Simon, Teddy, Victor, Walter,
        Arlo, Bruno, Caleb, Dylan, Ethan, George""",
        kind="name",
    ),
    _people(
        "friend",
        """Bella, Jenny, Sally, Holly, Carla, Dora, Elsie, Faye, Gina, Isla, Kira, Lena, Marta, Nelly, Olive, Pearl,
        Queenie, Rita, Tara, Una, Vera, Willa, Yara, Zara, Becky, Cora, Dina, Edith, Freya, Anita""",
        """Charlie, Harry, Andy, Paul, Frank, Alfie, Barney, Dennis, Eddie, Gus, Ivan, Jasper, Kai, Louis, Marco, Ned,
        Otto, Quinn, Robin, Stan, Tyler, Umar, Vince, Wally, Xander, Yusuf, Zack, Colin, Diego, Emil""",
        kind="name",
    ),
    _people(
        "adult",
        "mom, grandma, mother, aunt, big sister, nanny, grandmother, stepmother, great-aunt, godmother",
        """dad, grandpa, father, uncle, big brother, babysitter, grandfather, stepfather, great-uncle,
        godfather""",
    ),
    words(
        "passer",
        """farmer, teacher, old man, baker, policeman, gardener, mailman, tall woman, fisherman, doctor, painter,
        shopkeeper, nurse, fireman, bus driver, sailor, musician, tailor, carpenter, janitor, librarian, jogger,
        shepherd, clown, photographer, tourist, pilot, dentist, beekeeper, plumber, clockmaker, juggler, magician,
        captain, potter, cobbler, zookeeper, mechanic""",
    ),
    words(
        "job",
        """pilot, doctor, baker, teacher, dancer, singer, sailor, astronaut, painter, farmer, firefighter, inventor,
        cook, explorer, gardener, detective, scientist, writer, train driver, acrobat, actor, captain, engineer,
        lion tamer, mountain climber, goalkeeper, archaeologist, lighthouse keeper, chimney sweep, architect,
        opera singer""",
    ),
    words(
        "animal",
        """dog, cat, bird, rabbit, squirrel, duck, frog, fox, mouse, goat, hen, crow, pig, turtle, sheep, goose,
        lizard, deer, hedgehog, raccoon, owl, pony, donkey, badger, otter, beaver, peacock, magpie, mole, toad,
        swan, pigeon, rooster, hamster, chipmunk, weasel, heron, parrot""",
    ),
    words(
        "endearment",
        """sunshine, pumpkin, bear, bean, star, mouse, sparrow, peanut, rabbit, sweetheart, bumblebee, monkey,
        treasure, dumpling, explorer, butterfly, professor, captain, buttercup, cricket""",
    ),
    words(
        "young_animal",
        """kitten, puppy, bunny, duckling, baby bird, lamb, chick, fox cub, piglet, turtle, squirrel, hedgehog, frog,
        mouse, fawn, baby owl, baby goat, gosling, baby otter, baby raccoon, tortoise, baby beaver, mole,
        chipmunk, cygnet, baby badger, robin, sparrow, ferret, guinea pig, crab, swallow""",
    ),
    words(
        "pet_name",
        """Biscuit, Pepper, Coco, Buttons, Patches, Shadow, Ginger, Muffin, Socks, Spot, Nibbles, Pip, Honey, Bubbles,
        Snowy, Rusty, Pickles, Waffles, Fudge, Mittens, Dusty, Peanut, Sunny, Truffle, Whiskers, Noodle, Pebble,
        Sprout, Twinkle, Bandit""",
    ),
    words(
        "relative",
        """grandma, grandpa, cousin, aunt, uncle, brother, sister, godmother, grandmother, great-grandfather,
        godfather, stepsister, stepbrother, great-grandmother""",
    ),
    words(
        "bug",
        """butterfly, ladybug, bee, snail, ant, grasshopper, beetle, spider, dragonfly, cricket, caterpillar, firefly,
        moth, worm, bumblebee, centipede""",
    ),
    # --- what -----------------------------------------------------------------------------------------------------
    words(
        "toy",
        """ball, doll, kite, toy car, teddy bear, hat, book, boat, drum, blanket, toy truck, toy train, scarf,
        whistle, puzzle, robot, umbrella, bucket, balloon, ring, flute, basket, backpack, crown, marble, puppet,
        mask, bracelet, ribbon, shell, feather, jump rope, music box, paper plane, notebook, purse, mitten, cap,
        cape, bell, camera, flashlight, pinwheel, frisbee, paintbrush, trumpet, tambourine, top, yo-yo, lantern,
        telescope, compass, magnifying glass, necklace, badge, button, key chain, harmonica, rattle, wand, pillow,
        jacket, slipper, sock, glove, bow tie, coin, stamp, medal, watering can, ukulele, violin, abacus,
        accordion, hourglass""",
        kind="object",
    ),
    words(
        "breakable",
        """vase, plate, cup, lamp, bowl, clock, teapot, mirror, jar, mug, flowerpot, jug, picture frame, candlestick,
        snow globe, statue, pitcher, china cat, piggy bank, tray, glass, window, cookie jar, flower bowl, egg cup,
        sugar bowl, butter dish, ornament, fishbowl, chandelier, goblet, figurine, saucer, globe, aquarium,
        inkwell""",
        kind="object",
    ),
    words(
        "wish",
        """bike, doll, kite, drum, scooter, toy train, guitar, robot, puzzle, sled, skateboard, telescope, dollhouse,
        teddy bear, music box, toy boat, globe, hat, camera, wagon, necklace, rocking horse, toy castle, flute,
        tent, clock, easel, piano, toy airplane, umbrella, microscope, xylophone, hammock, accordion, chess set,
        fishing rod, typewriter, sewing kit, unicycle, toy rocket""",
        kind="object",
    ),
    words(
        "treasure",
        """box, coin, ring, key, crown, chest, necklace, bottle, bell, medal, jewel, cup, compass, music box, pearl,
        lamp, mirror, statue, sword, goblet, book, spyglass, bracelet, diamond, anchor, brooch, fossil, crystal,
        harp, locket, emerald, scroll, shield, helmet, whistle, horseshoe, ruby, sapphire, telescope""",
        kind="object",
    ),
    words(
        "dish",
        """cake, pie, pizza, soup, pudding, salad, sandwich, pancake, tart, stew, cheesecake, muffin, omelet,
        fruit salad, waffle, lasagna, cobbler, milkshake, strudel, gingerbread house, casserole, dumpling, quiche,
        smoothie, meatloaf, pretzel, trifle, burrito, apple turnover, sundae""",
        kind="object",
    ),
    words(
        "ingredient",
        """sugar, flour, milk, butter, salt, honey, cheese, cream, cinnamon, pepper, rice, jam, oats, vinegar, yogurt,
        ginger, chocolate, vanilla, parsley, mustard, garlic, nutmeg, syrup, basil""",
    ),
    words(
        "fruit",
        """apples, berries, eggs, nuts, bananas, cherries, carrots, pears, raisins, lemons, plums, oranges,
        strawberries, tomatoes, almonds, blueberries, peaches, onions, grapes, walnuts, raspberries, herbs,
        mushrooms, figs, olives""",
    ),
    words(
        "food",
        """apples, cookies, sandwiches, berries, cake, soup, bread and cheese, bananas, carrots, noodles, grapes,
        pancakes, popcorn, oranges, nuts, pears, pizza, cherries, peaches, plums, muffins, melon, rice pudding,
        pretzels, strawberries, toast with jam, cucumbers, raisins, waffles, corn, potatoes, tomatoes,
        blueberries, peas, crackers, porridge, pumpkin pie, lemon tarts, spaghetti, dumplings, coconut, apricots,
        almonds, raspberries, mangoes, gingerbread, figs, radishes""",
    ),
    words(
        "drink",
        """milk, water, lemonade, apple juice, hot chocolate, orange juice, tea, warm milk, berry juice, cocoa,
        ginger ale, iced tea, grape juice, peppermint tea""",
    ),
    words(
        "tool",
        """rope, blanket, scarf, stick, basket, shovel, towel, jacket, bucket, net, umbrella, ladder, board, spoon,
        coat, hammer, saw, broom, sheet, rake, lantern, glove, belt, sack, hook, crowbar, pillow, mop, mattress,
        plank, spade, apron, curtain""",
        kind="object",
    ),
    words(
        "flyaway",
        """kite, balloon, hat, paper plane, scarf, ball, ribbon, umbrella, cap, paper lantern, frisbee, parachute,
        handkerchief, toy glider, feather, bonnet, flag, straw hat, pinwheel, toy airplane, shuttlecock,
        tablecloth, pillowcase, beret""",
        kind="object",
    ),
    words(
        "clothes",
        """shoes, socks, boots, gloves, trousers, mittens, sandals, pants, pajamas, slippers, stockings, sweatpants,
        overalls""",
    ),
    words(
        "junk",
        """stone, leaf, stick, shoe, bottle, feather, nut, rope, snail shell, can, rusty nail, newspaper, broken cup,
        spoon, walnut, pinecone, acorn, bone, candle, brick, sponge, empty bag, comb, cork, glass jar, horseshoe,
        tin box, twig, wheel, ticket, cardboard box, envelope, paper cup""",
    ),
    words(
        "flower",
        """roses, daisies, tulips, sunflowers, violets, lilies, dandelions, poppies, buttercups, daffodils, pansies,
        lavender, bluebells, marigolds, snowdrops, irises, orchids, carnations, clover, forget-me-nots""",
    ),
    words(
        "tree",
        """apple, oak, pine, cherry, maple, birch, willow, pear, chestnut, plum, elm, fig, walnut, cedar, ash, lemon,
        beech, poplar""",
    ),
    # --- where ----------------------------------------------------------------------------------------------------
    _places(
        "outdoor",
        """at park, in garden, at beach, in forest, at playground, at farm, in meadow, at lake, on hill, in woods,
        in field, at zoo, at pond, at river, in yard, in orchard, at market, in valley, at fair, in schoolyard,
        on riverbank, at castle, in backyard, at harbor, in square, at campsite, on island, in rose garden,
        at waterfall, in pumpkin patch, at windmill, in courtyard, at lighthouse, on pier, in jungle, in vineyard,
        on soccer field, at creek, in cornfield, at stables, in canyon, on mountain, at seaside, in desert,
        in barnyard, at bay, on bridge, in swamp, at fountain, on cliff, in wheat field, at skating rink,
        on prairie, at shipyard, on plateau""",
    ),
    _places(
        "indoor",
        """at library, in kitchen, at school, in attic, in barn, in living room, at museum, in basement, in playroom,
        in classroom, at bakery, in workshop, at bookshop, in greenhouse, in garage, at theater, in tower,
        in hallway, at station, in cabin, in cellar, at gym, in studio, in treehouse, at hospital, in stable,
        at hotel, in tent, at bank, in pantry, at swimming pool, in laundry room, at aquarium, in dining room,
        at post office, in palace, at toy shop""",
    ),
    _places(
        "worksite",
        """at bakery, at market, at farm, at library, at school, in barn, at station, at museum, at hotel,
        at bookshop, in workshop, at theater, in greenhouse, at hospital, at post office, in garage, at harbor,
        at castle, at town hall, at dairy, in stable, at lighthouse, at windmill, at inn, in flower shop, at bank,
        at swimming pool, at zoo, in vineyard, at airport""",
    ),
    words(
        "spot_a",
        """under a bench, behind a tree, under a bush, behind a big rock, near the gate, under a table, behind a fence,
        beside the path, under a pile of leaves, behind a wall, next to a puddle, under an old blanket,
        behind a wheelbarrow, under a ladder, behind a barrel, around the corner, beside a bucket, under a cart,
        behind a sign""",
    ),
    words(
        "spot_in",
        """behind the curtain, under the carpet, in a drawer, behind a cupboard, under a chair, in a big box,
        behind the door, under a cushion, in an old trunk, behind a bookcase, in a laundry basket,
        under the stairs, in a dark corner, behind the stove, on the highest shelf""",
    ),
    words(
        "spot_b",
        """in the tall grass, inside a hollow log, in a basket, between two stones, in a muddy ditch,
        inside an empty box, among the flowers, in a heap of straw, in a hole in the ground, inside a rusty can,
        between the roots of a tree, in a clump of weeds, inside a paper bag, among the pebbles,
        in a patch of mint, inside an old boot, in a drain, among the mushrooms""",
    ),
    words(
        "spot_c",
        """on top of a stump, high in a tree, on the steps, at the edge of the water, on a low branch,
        at the bottom of a slope, on the roof of a shed, at the end of the path, on a window sill,
        on a heap of sand, at the foot of a statue, on a wooden crate, on a stack of hay, at the side of the road,
        on a flat stone""",
    ),
    words(
        "trap",
        """bush full of thorns, deep hole, old net, hollow log, muddy ditch, tangle of string, wire fence,
        pile of branches, wooden box, bucket, pipe, patch of brambles, drain, broken basket, heap of bricks,
        glass jar, crack in a wall, plastic bag, fishing line, narrow gap, chicken coop, barrel, flooded cellar,
        rain gutter""",
    ),
    words(
        "home",
        """small house, tall house, little cottage, big house, red brick house, village, quiet town, farmhouse,
        cabin, wooden hut, noisy city, stone cottage, yellow house, houseboat, castle, windmill, narrow street,
        apartment, old inn, lighthouse, bungalow, caravan""",
    ),
    words(
        "landmark",
        """sea, river, forest, lake, mountains, big park, old bridge, railway, church, harbor, market, hills, canal,
        desert, school, bakery, town hall, orchard, marsh, highway, fire station, quarry, airport, valley""",
    ),
    words(
        "shop",
        """toy shop, little shop, store, bookshop, corner shop, gift shop, department store, antique shop, market hall,
        thrift store, music shop, junk shop, bazaar""",
    ),
    # --- when -----------------------------------------------------------------------------------------------------
    words(
        "weather",
        """sunny, warm, bright, cold, cloudy, cool, hot, quiet, lovely, fine, breezy, chilly, misty, foggy, mild,
        crisp, peaceful, gloomy, pleasant, humid, beautiful, glorious, ordinary""",
    ),
    words(
        "daytime",
        """day, morning, afternoon, Saturday, Sunday, Friday, evening, Monday, Tuesday""",
    ),
    words("weekday", "Monday, Saturday, Sunday, Friday, Wednesday, Tuesday, Thursday"),
    words(
        "often",
        """every day, all day long, after school, every morning, after lunch, on Sundays, before dinner,
        in the summer, with the neighbors, after breakfast, in the evening, during the holidays,
        whenever possible, until bedtime, on weekends, after supper, at dawn, without a break, in secret""",
    ),
    words("few", "three, two, five, four, six, seven, ten, eight"),
    # --- how things are -------------------------------------------------------------------------------------------
    words(
        "trait",
        """little, kind, happy, small, clever, young, cheerful, curious, brave, quiet, friendly, playful, shy,
        gentle, funny, helpful, silly, polite, lively, careful, thoughtful, noisy, dreamy, honest, merry, patient,
        busy, bold, sweet, active, eager, stubborn, sleepy, generous, messy, adventurous, tidy, energetic, calm,
        loyal, proud, daring, imaginative, serious, restless, inventive, graceful, forgetful, talkative, modest""",
    ),
    words(
        "colour",
        """red, blue, green, yellow, pink, purple, orange, white, brown, black, golden, silver, gray, striped,
        spotted, turquoise, violet, checkered, scarlet, lilac, cream, navy, lavender, maroon, crimson, beige,
        emerald, peach, amber, ivory, indigo""",
    ),
    words(
        "shade",
        """blue, red, green, yellow, pink, purple, orange, white, brown, black, gray, silver, turquoise, violet, gold,
        lilac""",
    ),
    words(
        "sound",
        """soft, tiny, strange, squeaky, little, faint, sad, shrill, odd, muffled, peculiar, funny, trembling""",
    ),
    words(
        "high",
        """on a roof, high up in a tree, on a chimney, on a lamppost, on a flagpole, on a wire, on a church tower,
        on a balcony, on a signpost""",
    ),
    words(
        "fine",
        """beautiful, pretty, shiny, wonderful, lovely, fancy, splendid, old, precious, special, tiny, delicate,
        elegant, antique, painted, magnificent, rare, unusual, marvelous, exquisite, colorful, charming, polished,
        expensive, ancient""",
    ),
    words(
        "sad",
        """sad, very sad, upset, unhappy, lonely, worried, miserable, gloomy, heartbroken, hopeless, troubled,
        helpless, disappointed, glum, nervous, lost for words""",
    ),
    words(
        "glad",
        """happy, very happy, glad, proud, excited, so happy, cheerful, delighted, thankful, joyful, pleased, relieved,
        grateful, warm inside, thrilled, overjoyed, content, merry, lighthearted""",
    ),
    words(
        "softly",
        """softly, quietly, slowly, in a small voice, in a whisper, after a while, thoughtfully, in a low voice,
        with a sigh, calmly, shyly, seriously, hoarsely, solemnly""",
    ),
    words(
        "loudly",
        """happily, loudly, with a big smile, with a laugh, proudly, cheerfully, with a grin, merrily,
        excitedly, eagerly, brightly, with a giggle, joyfully, breathlessly, triumphantly""",
    ),
    words(
        "sky",
        """Birds were singing, White clouds drifted by, The air smelled of flowers, The leaves were rustling,
        Children were laughing, The church bells were ringing, Somewhere a dog was barking,
        Everything smelled of fresh bread, Far away a train whistled, Smoke curled from the chimneys,
        A cat slept on a wall, Swallows swooped overhead, A cow mooed nearby, Crickets were chirping,
        Somebody was playing the piano, Pigeons cooed on the roofs, An airplane hummed above the clouds,
        A rooster crowed in the distance, Frogs croaked in the reeds, The puddles glittered,
        Two squirrels raced along a fence, A woodpecker hammered on a trunk,
        The smell of pine trees was everywhere, Laundry fluttered on the lines""",
    ),
    # --- what people do -------------------------------------------------------------------------------------------
    words(
        "activity",
        """play outside, sing, draw, read books, dance, run, climb trees, paint, jump in puddles, ride a bike,
        build towers, swim, help in the garden, tell stories, bake bread, collect stones, watch the clouds,
        feed the ducks, make music, look at maps, look for bugs, play with blocks, listen to the birds,
        chase butterflies, skip rope, plant seeds, fly paper planes, pick berries, solve riddles,
        fold paper boats, play hide and seek, dig in the sand, whistle, swing, make mud pies, catch tadpoles,
        hop on one leg, dress up as a pirate, sew tiny clothes, invent secret codes, roller-skate, juggle,
        build model ships, imitate animals, write poems, knit, polish shells, train the family dog,
        repair old clocks, do cartwheels""",
    ),
    words(
        "played",
        """played tag, ran races, picked flowers, climbed a tree, played hide and seek, sang songs,
        danced in circles, jumped over puddles, looked for bugs, rolled in the grass, blew bubbles,
        built a small fort, skipped stones, fed the ducks, told jokes, made a chain of daisies,
        pretended to be pirates, watched a line of ants, collected pebbles, counted the clouds, played leapfrog,
        balanced on a log, stacked twigs, whistled a tune, hopped like frogs, drew faces in the dirt,
        marched like soldiers, followed a beetle, tickled each other, galloped like horses,
        spun around until they were dizzy, swapped riddles""",
    ),
    words(
        "played_in",
        """were dancing, were playing tag, were throwing a ball, were jumping around, were pretending to be lions,
        were playing leapfrog, were fighting with pillows, were chasing each other, were hopping on one leg,
        were spinning around, were marching in circles, were playing knights, were waving brooms,
        were racing on their knees""",
    ),
    words(
        "contest",
        """drew straws, flipped a coin, ran a race, played cards, threw dice, had a staring contest,
        played rock-paper-scissors, arm-wrestled, held their breath, stood on one leg, guessed a number,
        built towers of blocks, told jokes, made funny faces, played checkers, hummed songs, counted backward""",
    ),
    words(
        "subject",
        """a dragon, a pirate, a lost star, the moon, an old king, a talking fish, a sleepy bear,
        a princess and a frog, a giant, a haunted mill, a clever thief, a flying carpet, a snowman, a robot,
        a magic pot, a lazy wizard, three wishes, a tiny elephant, a mermaid, a brave ant, a singing spoon,
        the north wind, a hungry wolf, an invisible horse, a clumsy knight, a rain cloud, a witch with cold feet,
        a grumpy troll, a kangaroo, a city under the sea""",
    ),
    words(
        "task",
        """swept the floor, washed the dishes, carried boxes, cleaned the windows, dusted the shelves,
        watered the flowers, wiped the tables, mopped the stairs, stacked the chairs, sorted old papers,
        emptied the bins, scrubbed the pots, folded towels, polished the door handles, painted a wall,
        shoveled snow, fed the cat, peeled potatoes, wrote labels, sharpened pencils, chopped wood,
        delivered letters, counted coins, mended curtains, tied parcels, oiled the hinges""",
    ),
    words(
        "chore",
        """washed the dishes, swept the floor, watered the plants, fed the chickens, walked the dog, picked apples,
        raked the leaves, cleaned the windows, carried wood, folded the laundry, weeded the garden,
        dusted the shelves, set the table, sold lemonade, shoveled snow, peeled potatoes, polished the shoes,
        painted the fence, brushed the pony, mopped the stairs, delivered newspapers, collected bottles,
        scrubbed the pots, milked the goat, trimmed the hedge, stacked the chairs, gathered eggs, ironed shirts,
        planted onions""",
    ),
    words(
        "fear",
        """the dark, thunder, deep water, big dogs, high places, loud noises, spiders, the cellar, strangers, swimming,
        bees, ghosts, storms, mice, the slide, owls, shadows, lightning, bats, snakes, tunnels, the dentist,
        fireworks, elevators, geese, masks, crowds, moths""",
    ),
    words(
        "fear_b",
        """needles, cows, roosters, wasps, robots, trains, pigeons, volcanoes, wolves, sharks, tigers, crocodiles,
        monsters""",
    ),
    words(
        "talent",
        """sing a song, dance, tell a story, play the flute, do magic tricks, juggle, read a poem, play the drum,
        walk on a rope, recite riddles, do handstands, play the violin, tell jokes, act in a play, imitate birds,
        whistle a tune, play the trumpet, perform a puppet show, spin plates, do somersaults, yodel, tap-dance,
        hula-hoop, play the xylophone, blow giant bubbles""",
    ),
    words(
        "event",
        """show, party, fair, talent show, concert, festival, contest, summer party, parade, carnival, picnic,
        school play, harvest feast, circus, celebration, bazaar, costume party, tournament, recital""",
    ),
]
